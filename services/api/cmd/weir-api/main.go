// Command weir-api answers questions about the stored events over REST, and shows
// them as they arrive over WebSocket.
package main

import (
	"os"

	"weir/services/api"
	"weir/services/shared/process"
)

func main() { os.Exit(process.Main("weir-api", api.Run, api.Commands()...)) }
