package charontest

import (
	"net"
	"strings"
	"sync"

	"github.com/bordergw/bordergw/dataplane/charon/vici"
)

// session is one client. Like charon it answers a client's commands one after the other and queues what it sends without bound.
type session struct {
	server *Server
	conn   net.Conn
	// events is guarded by server.mu.
	events map[string]bool

	mu     sync.Mutex
	queue  [][]byte
	closed bool
	wake   chan struct{}
	once   sync.Once
}

func (s *Server) serve(conn net.Conn) bool {
	c := &session{server: s, conn: conn, events: make(map[string]bool), wake: make(chan struct{}, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.up {
		return false
	}
	s.sessions[c] = true
	s.tasks.Go(c.read)
	s.tasks.Go(c.write)
	return true
}

func (c *session) close() {
	c.once.Do(func() {
		c.mu.Lock()
		c.closed = true
		c.mu.Unlock()
		c.conn.Close()
		c.signal()
		c.server.mu.Lock()
		delete(c.server.sessions, c)
		c.server.mu.Unlock()
	})
}

func (c *session) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *session) send(p vici.Packet) {
	frame, err := vici.Encode(p)
	if err != nil {
		// What does not fit is discarded, as charon does.
		return
	}
	c.mu.Lock()
	c.queue = append(c.queue, frame)
	c.mu.Unlock()
	c.signal()
}

func (c *session) write() {
	for range c.wake {
		for {
			c.mu.Lock()
			if c.closed {
				c.mu.Unlock()
				return
			}
			if len(c.queue) == 0 {
				c.mu.Unlock()
				break
			}
			frame := c.queue[0]
			c.queue = c.queue[1:]
			c.mu.Unlock()
			if _, err := c.conn.Write(frame); err != nil {
				return
			}
		}
	}
}

func (c *session) read() {
	defer c.close()
	for {
		p, err := vici.ReadPacket(c.conn)
		if err != nil {
			return
		}
		switch p.Type {
		case vici.EventRegister:
			c.register(p.Name)
		case vici.EventUnregister:
			c.server.mu.Lock()
			delete(c.events, p.Name)
			c.server.mu.Unlock()
			c.send(vici.Packet{Type: vici.EventConfirm})
		case vici.CmdRequest:
			c.command(p.Name, p.Message)
		default:
			return
		}
	}
}

// events maps names to the release that introduced them.
func events() map[string]string {
	return map[string]string{
		"log": "5.3.0", "ike-updown": "5.3.0", "ike-rekey": "5.5.1", "ike-update": "5.9.6", "child-updown": "5.3.0", "child-rekey": "5.5.1",
		"list-sa": "5.1.2", "list-conn": "5.1.2", "alert": "6.0.3",
	}
}

func (c *session) register(event string) {
	s := c.server
	since, known := events()[event]
	if !known || older(s.version(), since) {
		c.send(vici.Packet{Type: vici.EventUnknown})
		return
	}
	s.mu.Lock()
	c.events[event] = true
	s.mu.Unlock()
	if s.BeforeConfirm != nil {
		s.BeforeConfirm(event)
	}
	c.send(vici.Packet{Type: vici.EventConfirm})
}

func (c *session) command(name string, in *vici.Message) {
	s := c.server
	if s.Before != nil {
		s.Before(name, in)
	}
	handle, known := commands()[name]
	if !known {
		c.send(vici.Packet{Type: vici.CmdUnknown})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.up {
		return
	}
	s.commands = append(s.commands, strings.TrimSpace(name+" "+subject(in)))
	if reply := handle(s, c, in); reply != nil {
		c.send(vici.Packet{Type: vici.CmdResponse, Message: reply})
	}
}

func subject(in *vici.Message) string {
	for _, key := range []string{"id", "name", "ike", "ike-id", "child-id"} {
		if v, ok := in.Lookup(key); ok {
			if strings.HasSuffix(key, "-id") {
				return key + "=" + v
			}
			return v
		}
	}
	for name := range in.Sections() {
		return name
	}
	return ""
}

func (s *Server) version() string {
	if s.Version == "" {
		return "5.9.8"
	}
	return s.Version
}

// older compares release numbers of three parts.
func older(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return len(x[i]) < len(y[i]) || len(x[i]) == len(y[i]) && x[i] < y[i]
		}
	}
	return false
}
