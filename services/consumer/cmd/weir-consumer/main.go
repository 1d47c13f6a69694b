// Command weir-consumer writes the events of the stream to TimescaleDB.
package main

import (
	"os"
	"runtime/debug"

	"weir/services/consumer"
	"weir/services/shared/process"
)

func main() {
	// What a consumer holds is mostly text of batches, which is cheap to collect: doing
	// it twice as often keeps it below 150 MiB. GOGC overrides it, as always.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	os.Exit(process.Main("weir-consumer", consumer.Run, consumer.Commands()...))
}
