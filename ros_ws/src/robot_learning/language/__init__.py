"""From words to motion: what people say becomes plans, generated code becomes checked calls."""
