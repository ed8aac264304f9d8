"""`taskferry demo`: a broker, workers and a stream of requests on one machine, shown live."""
