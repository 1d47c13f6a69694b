// Command images makes the images of the backing servers present: pulled, or built
// from Debian packages.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"weir/e2e/harness"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	images, err := harness.Images(ctx, harness.Options{Log: func(format string, args ...any) { fmt.Printf(format+"\n", args...) }})
	for _, image := range images {
		fmt.Println("present:", image)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}
