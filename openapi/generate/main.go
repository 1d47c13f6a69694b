// Command generate writes the descriptions of the APIs into the folder openapi.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"weir/openapi"
)

func main() {
	documents, err := openapi.Documents()
	for name, text := range documents {
		if err == nil {
			err = os.WriteFile(filepath.Join("openapi", name), text, 0o644)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}
