"""`python -m appliance.engine`."""

from appliance.engine.daemon import main

main()
