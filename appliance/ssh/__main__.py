"""`python -m appliance.ssh`."""

from appliance.ssh.server import main

if __name__ == "__main__":
    main()
