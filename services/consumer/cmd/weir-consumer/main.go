// Command weir-consumer writes the events of the stream to TimescaleDB.
package main

import (
	"os"

	"weir/services/consumer"
	"weir/services/shared/process"
)

func main() { os.Exit(process.Main("weir-consumer", consumer.Run, consumer.Commands()...)) }
