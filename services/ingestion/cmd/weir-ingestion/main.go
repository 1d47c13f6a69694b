// Command weir-ingestion takes and generates events.
package main

import (
	"os"

	"weir/services/ingestion"
	"weir/services/shared/process"
)

func main() { os.Exit(process.Main("weir-ingestion", ingestion.Run, ingestion.Commands()...)) }
