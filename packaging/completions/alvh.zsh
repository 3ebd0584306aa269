#compdef alvh

_alvh_completion() {
  eval $(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _ALVH_COMPLETE=complete_zsh alvh)
}

compdef _alvh_completion alvh
