// Command down removes the containers of the backing servers, whoever started them.
package main

import (
	"context"
	"fmt"
	"os"

	"weir/e2e/harness"
)

func main() {
	removed, err := harness.RemoveAll(context.Background(), harness.Options{})
	fmt.Println("containers removed:", removed)
	if err != nil {
		fmt.Fprintln(os.Stderr, "down:", err)
		os.Exit(1)
	}
}
