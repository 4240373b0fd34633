//go:build bench

package rows

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/test/lab"
)

// changes follows a kernel's routes and nexthops: it knows when the last one changed.
type changes struct {
	last atomic.Int64
	stop chan struct{}
	done chan struct{}
}

// follow subscribes to the changes of a host.
func follow(h *lab.Host) (*changes, error) {
	c := &changes{stop: make(chan struct{}), done: make(chan struct{})}
	fd := -1
	err := h.Do(func() (err error) {
		if fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE); err != nil {
			return err
		}
		if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return err
		}
		for _, group := range []int{unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_NEXTHOP} {
			if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group); err != nil {
				return err
			}
		}
		return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000})
	})
	if err != nil {
		return nil, err
	}
	c.touch()
	go func() {
		defer close(c.done)
		defer func() { _ = unix.Close(fd) }()
		buf := make([]byte, 1<<16)
		for {
			select {
			case <-c.stop:
				return
			default:
			}
			// ENOBUFS says that there were more than could be read: a change all the same.
			if _, _, err := unix.Recvfrom(fd, buf, 0); err == nil || err == unix.ENOBUFS {
				c.touch()
			}
		}
	}()
	return c, nil
}

func (c *changes) touch()              { c.last.Store(time.Now().UnixNano()) }
func (c *changes) lastTime() time.Time { return time.Unix(0, c.last.Load()) }
func (c *changes) close()              { close(c.stop); <-c.done }

// prefixes counts the IPv4 prefixes in all tables of a host, cheaply.
func prefixes(h *lab.Host) (int, error) {
	total := 0
	err := h.Do(func() error {
		data, err := os.ReadFile("/proc/thread-self/net/fib_triestat")
		if err != nil {
			return err
		}
		lines := bufio.NewScanner(strings.NewReader(string(data)))
		for lines.Scan() {
			if text, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), "Prefixes:"); ok {
				n, err := strconv.Atoi(strings.TrimSpace(text))
				if err != nil {
					return err
				}
				total += n
			}
		}
		return nil
	})
	return total, err
}

// peakRSS is the most memory that the named programs of a host ever had, together, in MiB.
func peakRSS(h *lab.Host, programs ...string) (float64, error) {
	var ns string
	if err := h.Do(func() (err error) { ns, err = os.Readlink("/proc/thread-self/ns/net"); return err }); err != nil {
		return 0, err
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	found, total := 0, 0.0
	for _, dir := range dirs {
		name, err := os.ReadFile(filepath.Join(dir, "comm"))
		own, nsErr := os.Readlink(filepath.Join(dir, "ns/net"))
		if err != nil || nsErr != nil || own != ns || !contains(programs, strings.TrimSpace(string(name))) {
			continue
		}
		status, err := os.ReadFile(filepath.Join(dir, "status"))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(status)) {
			if text, ok := strings.CutPrefix(line, "VmHWM:"); ok {
				kib, err := strconv.Atoi(strings.Fields(text)[0])
				if err != nil {
					return 0, err
				}
				found++
				total += float64(kib) / 1024
			}
		}
	}
	if found == 0 {
		return 0, fmt.Errorf("%s: none of %v runs", h.Name(), programs)
	}
	return total, nil
}

// contains compares as the kernel does, which keeps 15 characters of a name.
func contains(programs []string, comm string) bool {
	for _, p := range programs {
		if p[:min(len(p), 15)] == comm {
			return true
		}
	}
	return false
}
