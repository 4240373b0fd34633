// Package storetest runs a real etcd for tests: one member in this process, its files in memory where the machine allows that.
package storetest

import (
	"log/slog"
	"os"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/bordergw/bordergw/controller/store"
)

// Start runs an etcd until the test ends and returns its endpoint.
func Start(tb testing.TB) string {
	tb.Helper()
	e, err := store.StartEmbedded(tb.Context(), store.EmbeddedOptions{Dir: Dir(tb), Log: Log(tb), NoSync: true})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(e.Close)
	return e.Endpoint()
}

// Client returns a client of its own, as another controller would have.
func Client(tb testing.TB, endpoint string) *clientv3.Client {
	tb.Helper()
	c, err := store.Connect(store.ConnectOptions{Endpoints: []string{endpoint}, Log: Log(tb)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

// Dir returns a folder with a short name: a Unix socket's may have 107 bytes, which the folders of the testing package often exceed.
func Dir(tb testing.TB) string {
	tb.Helper()
	base := "/dev/shm"
	if _, err := os.Stat(base); err != nil {
		base = ""
	}
	dir, err := os.MkdirTemp(base, "bgw")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	return dir
}

// Log returns a log that shows what etcd says when a test fails.
func Log(tb testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(tb.Output(), nil))
}
