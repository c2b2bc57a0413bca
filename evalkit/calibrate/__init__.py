"""Whether scores can be trusted: agreement of metrics with what people say."""
