"""What the site is made of beside its pages: each module turns one truth of the code into text."""
