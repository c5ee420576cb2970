"""What a definition file says about features: views, kinds of features, expressions, durations."""
