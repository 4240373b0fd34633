// Command bordergwctl shows what bordergw's agents do.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/bordergw/bordergw/internal/ctl"
	build "github.com/bordergw/bordergw/internal/version"
)

// version is set by the linker: -ldflags "-X main.version=v1.2.3".
var version string

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	program := ctl.Program{
		Stdout:  os.Stdout,
		Stderr:  os.Stderr,
		Getenv:  os.Getenv,
		Now:     time.Now,
		Version: build.Read(version).String(),
	}
	return program.Run(ctx, os.Args[1:])
}
