package server

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// socketMode lets the socket's group use the API: it shows addresses and states, never secrets.
	socketMode = 0o660
	// maxSocketPath is sun_path of sockaddr_un (108 bytes with its final zero) less room for the temporary name.
	maxSocketPath = 107 - len(bindSuffix)
	bindSuffix    = "~"
	lockSuffix    = ".lock"
	// dialTimeout bounds the question whether a process still answers on an old socket.
	dialTimeout = time.Second
)

// ErrSocketInUse is returned by ListenUnix when a live process serves the path.
var ErrSocketInUse = errors.New("another process serves this socket")

// ListenUnix listens on a unix socket at path with mode 0660 and creates the parent folder when it is missing. A socket that a dead
// process left behind is replaced; while a live one serves it the error is ErrSocketInUse. Anything at path that is not a socket is left
// alone and is an error. Closing the listener removes the socket, unless somebody else has put another one there.
//
// The lock on path+".lock" decides between two processes that start at the same moment; the file stays, because removing it would
// allow two locks.
func ListenUnix(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("listen on %s: the path has %d bytes, a unix socket's may have %d", path, len(path), maxSocketPath)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	lock, err := lockFile(path + lockSuffix)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l, err := bind(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", path, err), lock.Close())
	}
	l.lock = lock
	return l, nil
}

func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrSocketInUse
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// bind creates the socket under a temporary name and renames it into place, so that it never shows with a mode that the umask chose.
func bind(path string) (*unixListener, error) {
	if err := checkFree(path); err != nil {
		return nil, err
	}
	temporary := path + bindSuffix
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: temporary, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	identity, err := publish(temporary, path)
	if err != nil {
		return nil, errors.Join(err, l.Close(), os.Remove(temporary))
	}
	return &unixListener{UnixListener: l, path: path, identity: identity}, nil
}

func publish(temporary, path string) (os.FileInfo, error) {
	if err := os.Chmod(temporary, socketMode); err != nil {
		return nil, err
	}
	identity, err := os.Lstat(temporary)
	if err != nil {
		return nil, err
	}
	return identity, os.Rename(temporary, path)
}

func checkFree(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("it exists and is not a socket (%s)", info.Mode().Type())
	}
	conn, err := net.DialTimeout("unix", path, dialTimeout)
	if err == nil {
		_ = conn.Close()
		return ErrSocketInUse
	}
	if errors.Is(err, unix.ECONNREFUSED) {
		return nil
	}
	// A full backlog (EAGAIN) and a timeout mean that somebody is there.
	return fmt.Errorf("%w (or does not answer: %w)", ErrSocketInUse, err)
}

// unixListener removes its socket and gives up its lock when it is closed.
type unixListener struct {
	*net.UnixListener
	path     string
	identity os.FileInfo
	lock     *os.File
	once     sync.Once
	err      error
}

// Close stops listening. It may be called more than once.
func (l *unixListener) Close() error {
	l.once.Do(func() {
		l.err = errors.Join(l.UnixListener.Close(), l.removeOwn(), l.lock.Close())
	})
	return l.err
}

func (l *unixListener) removeOwn() error {
	now, err := os.Lstat(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !os.SameFile(l.identity, now) {
		return nil
	}
	return os.Remove(l.path)
}

// Addr returns the published path, not the temporary name the socket was bound to.
func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }
