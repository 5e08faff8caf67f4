"""What users call: models at work, training, evaluation; knows no command line."""
