"""What several kinds of case share: problems, expectations, and checks that compare."""
