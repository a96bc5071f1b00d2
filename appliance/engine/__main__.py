"""`python -m appliance.engine`."""

from appliance.engine.daemon import main

if __name__ == "__main__":
    main()
