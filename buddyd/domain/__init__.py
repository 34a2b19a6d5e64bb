"""The mathematics of every answer: pure, without input or output; time is an argument."""
