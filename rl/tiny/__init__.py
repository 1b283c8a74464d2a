"""The tiny policy: tokenizer, configuration and staged warm start, all made by code."""
