"""What only root may do to this host, for the web page, the rescue page and the screen's menu.

`dpe-host` is a small daemon on a Unix socket. It needs no engine and no catalog to answer, so that it can still help when those cannot start.
"""
