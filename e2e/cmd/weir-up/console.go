package main

import (
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// console tells the lines of several programs apart on one terminal.
type console struct {
	mu     sync.Mutex
	out    io.Writer
	colour bool
	used   int
}

func newConsole(f *os.File) *console {
	return &console{out: f, colour: term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == ""}
}

// say prints a line of weir-up's own.
func (c *console) say(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintln(c.out, c.paint("1", "weir          ")+" | "+line)
}

// writer returns a writer of whole lines that names the program in front of each.
func (c *console) writer(name string) io.Writer {
	c.used++
	prefix := c.paint(fmt.Sprint(31+c.used), fmt.Sprintf("%-14s", name)) + " | "
	return lineWriter(func(line []byte) {
		c.mu.Lock()
		defer c.mu.Unlock()
		fmt.Fprintf(c.out, "%s%s", prefix, line)
	})
}

func (c *console) paint(colour, text string) string {
	if !c.colour {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

type lineWriter func([]byte)

func (w lineWriter) Write(p []byte) (int, error) {
	if len(p) > 0 {
		w(p)
	}
	return len(p), nil
}
