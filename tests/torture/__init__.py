"""Every way a CT series can be odd: each is made right or left out for the right reason."""
