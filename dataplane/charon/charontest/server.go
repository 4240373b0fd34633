// Package charontest is a charon for tests: a VICI server that keeps connections, secrets and SAs, refuses what the real one refuses, and
// can be made to behave badly. It has no clock of its own: delays are the test's, in a testing/synctest bubble with Dial, or with
// gates on a real socket with Listen.
package charontest

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/bordergw/bordergw/dataplane/charon/vici"
)

// Server is one charon. Create it with New, end it with Close. The exported fields are set before the first connection.
type Server struct {
	// Version is what the version command says; 5.9.8 when empty. Keys and events of later versions are refused below them.
	Version string
	// MLKEM says that a plugin with ML-KEM is loaded; before 6.0 there is none. It may be changed while charon is dead. Without it
	// charon takes proposals with ML-KEM, as the real one does, and every negotiation that it starts with one of them first fails.
	MLKEM bool
	// Before is called before a command is carried out, on the connection's own goroutine: blocking here is a charon that is slow.
	Before func(command string, in *vici.Message)
	// BeforeConfirm is called before a registration is confirmed.
	BeforeConfirm func(event string)
	// BetweenItems is called before each item of a listing goes out, with its index.
	BetweenItems func(i int)
	// Refuse returns the error message with which load-conn refuses a connection, "" to take it.
	Refuse func(conn string) string
	// Ends says whether the IKE_SAs of a connection end by themselves after terminate has found them and before it closes them.
	Ends func(conn string) bool
	// Drop says which events get lost.
	Drop func(event string, m *vici.Message) bool
	// Peer says how an attempt to initiate a connection ends, counted from 1; Up when nil.
	Peer func(conn string, attempt int) Outcome
	// PeerKey is the only pre-shared key that the peer of a connection has; nil for a peer that takes any.
	PeerKey func(conn string) string

	mu       sync.Mutex
	up       bool
	conns    map[string]*connection
	order    []string
	secrets  map[string]Secret
	ikes     []*ikeSA
	nextID   uint32
	sessions map[*session]bool
	attempts map[string]int
	// loads orders secrets: charon signs with the one that came last.
	loads    []string
	commands []string
	listener net.Listener
	tasks    sync.WaitGroup
}

// Secret is a loaded key.
type Secret struct {
	Type, Data string
	Owners     []string
}

// connection is a loaded one; generation changes with its settings.
type connection struct {
	message *vici.Message
	encoded string
}

// New returns a running charon that nobody is connected to.
func New() *Server {
	s := &Server{sessions: make(map[*session]bool)}
	s.Start()
	return s
}

// Start brings a killed charon back: empty, as a new process is.
func (s *Server) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.up = true
	s.conns, s.secrets, s.ikes, s.order = make(map[string]*connection), make(map[string]Secret), nil, nil
	s.attempts = make(map[string]int)
}

// Kill ends charon without a word: connections break, everything it knew is gone, and dialling fails until Start.
func (s *Server) Kill() {
	s.mu.Lock()
	s.up = false
	s.conns, s.secrets, s.ikes, s.order = nil, nil, nil, nil
	s.mu.Unlock()
	s.Disconnect()
}

// Disconnect breaks all connections; charon itself lives on.
func (s *Server) Disconnect() {
	s.mu.Lock()
	open := make([]*session, 0, len(s.sessions))
	for c := range s.sessions {
		open = append(open, c)
	}
	s.mu.Unlock()
	for _, c := range open {
		c.close()
	}
}

// Close ends everything and waits for all goroutines.
func (s *Server) Close() {
	s.Kill()
	s.mu.Lock()
	l := s.listener
	s.mu.Unlock()
	if l != nil {
		l.Close()
	}
	s.tasks.Wait()
}

// Dial connects without a socket; it has the shape that charon.Options wants.
func (s *Server) Dial(context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	if !s.serve(server) {
		client.Close()
		return nil, errors.New("connect: connection refused")
	}
	return client, nil
}

// Listen serves on a unix socket.
func (s *Server) Listen(path string) error {
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.listener = l
	s.mu.Unlock()
	s.tasks.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if !s.serve(conn) {
				conn.Close()
			}
		}
	})
	return nil
}

// Commands returns the commands carried out so far, each with the name it was about: "load-conn bgw-a".
func (s *Server) Commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.commands...)
}

// Conns returns the names of loaded connections in the order they were loaded.
func (s *Server) Conns() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.order...)
}

// Conn returns a loaded connection's settings, nil when it is not loaded.
func (s *Server) Conn(name string) *vici.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.conns[name]; c != nil {
		return c.message
	}
	return nil
}

// Secrets returns the loaded keys by id.
func (s *Server) Secrets() map[string]Secret {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]Secret, len(s.secrets))
	for id, secret := range s.secrets {
		out[id] = secret
	}
	return out
}

// Sessions says how many clients are connected.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// Push sends an event to every client that registered for it.
func (s *Server) Push(event string, m *vici.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.push(event, m)
}

func (s *Server) push(event string, m *vici.Message) {
	if s.Drop != nil && s.Drop(event, m) {
		return
	}
	for c := range s.sessions {
		if c.events[event] {
			c.send(vici.Packet{Type: vici.EventPacket, Name: event, Message: m})
		}
	}
}
