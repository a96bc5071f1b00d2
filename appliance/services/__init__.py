"""The verbs. Web, API and command line call these and nothing deeper."""
