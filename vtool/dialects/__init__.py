"""How things are written: the wire syntaxes that models use for calls and answers."""
