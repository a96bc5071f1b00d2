-- The host over time is in a file of its own, with classes and machines.
DROP TABLE host_reading;
