"""The signer: the only process that holds a key, and the rules it signs by.

The rules live beside the key so that no bug above, and nobody who took over the bot, gets a signature outside
of them (REL-Y1). Only `app` puts it together; the bot reaches it through `bot.chain.signer_client`.
"""
