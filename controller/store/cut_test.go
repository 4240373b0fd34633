package store_test

import (
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bordergw/bordergw/controller/store"
	"github.com/bordergw/bordergw/controller/store/storetest"
)

// cable is a connection to etcd that can be cut.
type cable struct {
	listener net.Listener
	mu       sync.Mutex
	cut      bool
	conns    map[net.Conn]bool
	wg       sync.WaitGroup
}

func newCable(t *testing.T, target string) (*cable, string) {
	t.Helper()
	path := filepath.Join(storetest.Dir(t), "cable")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{listener: l, conns: map[net.Conn]bool{}}
	c.wg.Go(func() { c.accept(strings.TrimPrefix(target, "unix://")) })
	t.Cleanup(func() {
		_ = l.Close() // ends accept
		c.set(true)
		c.wg.Wait()
	})
	return c, "unix://" + path
}

func (c *cable) accept(target string) {
	for {
		in, err := c.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("unix", target)
		c.mu.Lock()
		if err != nil || c.cut {
			_ = in.Close()
			if err == nil {
				_ = out.Close()
			}
			c.mu.Unlock()
			continue
		}
		c.conns[in], c.conns[out] = true, true
		c.mu.Unlock()
		c.wg.Go(func() { c.copy(in, out) })
		c.wg.Go(func() { c.copy(out, in) })
	}
}

func (c *cable) copy(to, from net.Conn) {
	_, _ = io.Copy(to, from) // ends when either end is closed
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range []net.Conn{to, from} {
		_ = x.Close()
		delete(c.conns, x)
	}
}

func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	if cut {
		for x := range c.conns {
			_ = x.Close()
		}
	}
}

func TestViewSurvivesCompaction(t *testing.T) {
	endpoint := storetest.Start(t)
	direct := storetest.Client(t, endpoint)
	cable, through := newCable(t, endpoint)
	far, near := open(t, storetest.Client(t, through)), open(t, direct)
	put(t, near, "goes", 1)
	put(t, near, "changes", 1)
	if err := far.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	sub := far.Subscribe()
	defer sub.Close()
	<-sub.Wake()
	sub.Take()

	cable.set(true)
	if _, err := near.Write(t.Context(), func(tx *store.Tx) error { tx.Delete(store.Ref{Kind: "K", Name: "goes"}); return nil }); err != nil {
		t.Fatal(err)
	}
	last := put(t, near, "changes", 2)
	if _, err := direct.Compact(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"changes=1", "goes=1"}, names(far, "K")); diff != "" {
		t.Errorf("the cable is not cut: %s", diff)
	}
	cable.set(false)

	<-sub.Wake()
	if _, all := sub.Take(); !all {
		t.Error("what changed meanwhile is not known, and the subscriber was not told so")
	}
	if diff := cmp.Diff([]string{"changes=2"}, names(far, "K")); diff != "" {
		t.Error(diff)
	}
	put(t, far, "new", 3)
	if diff := cmp.Diff([]string{"changes=2", "new=3"}, names(far, "K")); diff != "" {
		t.Error(diff)
	}
}
