package server_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bordergw/bordergw/agent/server"
)

func TestListenUnixCreatesTheFolderAndMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "agent.sock")
	l, err := server.ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != fs.ModeSocket|0o660 {
		t.Errorf("mode = %v, want a socket with 0660", info.Mode())
	}
	if l.Addr().String() != path {
		t.Errorf("Addr() = %s, want %s", l.Addr(), path)
	}
	for range 2 {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there after Close: %v", err)
	}
}

func TestListenUnixReplacesTheSocketOfADeadProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := server.ListenUnix(path)
	if err != nil {
		t.Fatalf("ListenUnix over a dead socket: %v", err)
	}
	defer func() { _ = l.Close() }()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the new socket does not answer: %v", err)
	}
	_ = conn.Close()
}

func TestListenUnixRefuses(t *testing.T) {
	t.Run("a live agent", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "agent.sock")
		first, err := server.ListenUnix(path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = first.Close() }()
		if _, err := server.ListenUnix(path); !errors.Is(err, server.ErrSocketInUse) {
			t.Errorf("second ListenUnix = %v, want ErrSocketInUse", err)
		}
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatalf("the first socket no longer answers: %v", err)
		}
		_ = conn.Close()
	})
	t.Run("a live program that takes no lock", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "agent.sock")
		other, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = other.Close() }()
		if _, err := server.ListenUnix(path); !errors.Is(err, server.ErrSocketInUse) {
			t.Errorf("ListenUnix = %v, want ErrSocketInUse", err)
		}
	})
	t.Run("a file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "agent.sock")
		if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := server.ListenUnix(path); err == nil || !strings.Contains(err.Error(), "not a socket") {
			t.Errorf("ListenUnix = %v, want a refusal", err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != "mine" {
			t.Errorf("the file changed: %q, %v", got, err)
		}
	})
	t.Run("a path that is too long", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), strings.Repeat("x", 108))
		if _, err := server.ListenUnix(path); err == nil || !strings.Contains(err.Error(), "bytes") {
			t.Errorf("ListenUnix = %v, want the length named", err)
		}
	})
}

func TestCloseLeavesAForeignSocketAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.sock")
	l, err := server.ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the other program's socket is gone: %v", err)
	}
}
