"""What ALVH is compared with (R26)."""
