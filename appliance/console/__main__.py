"""`python -m appliance.console`."""

from appliance.console.gateway import main

if __name__ == "__main__":
    main()
