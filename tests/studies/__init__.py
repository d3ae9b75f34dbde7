"""What the tests of published and reference numbers share."""
