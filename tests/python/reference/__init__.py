"""What an export should say, worked out from the events and the ledger alone: shares no code with the program."""
