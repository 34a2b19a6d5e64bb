"""buddyctl: one file per verb; what an answer looks like to a person is in `render`."""
