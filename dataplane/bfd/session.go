package bfd

import (
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"time"
)

// reopenAfter is the time between two attempts to open a Conn.
const reopenAfter = time.Second

// farewells is how often a peer is told that its session is given up: one packet may be lost.
const farewells = 3

// session runs one machine over one Conn.
type session struct {
	d               *Driver
	gateway, tunnel string
	// done is closed at the end of run.
	done chan struct{}
	// wake ends the wait for the next attempt to open a Conn.
	wake chan struct{}

	mu      sync.Mutex
	target  Target
	machine *machine
	conn    Conn // nil while there is none
	stopped bool
}

func newSession(d *Driver, gateway string, t Target) *session {
	return &session{
		d: d, gateway: gateway, tunnel: t.Tunnel, target: t, done: make(chan struct{}), wake: make(chan struct{}, 1),
		machine: newMachine(t.Interval, t.Multiplier, 1+rand.Uint32N(1<<32-1), rand.Float64, time.Now()),
	}
}

// retune takes over another interval and multiplier.
func (s *session) retune(t Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.target == t {
		return
	}
	s.target = t
	s.machine.retune(t.Interval, t.Multiplier, time.Now())
	s.interrupt()
}

// stop ends run soon.
func (s *session) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	s.interrupt()
}

// interrupt is called with mu held.
func (s *session) interrupt() {
	if s.conn != nil {
		s.conn.Interrupt()
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *session) run() {
	defer close(s.done)
	buf := make([]byte, 256)
	for {
		conn := s.open()
		if conn == nil {
			return
		}
		err := s.serve(conn, buf)
		s.mu.Lock()
		s.conn = nil
		s.mu.Unlock()
		if err == nil {
			s.farewell(conn)
		}
		if closeErr := conn.Close(); closeErr != nil {
			s.d.log.Debug("BFD socket not closed", "tunnel", s.tunnel, "error", closeErr)
		}
		if err == nil {
			return
		}
		s.d.log.Debug("BFD socket is replaced", "tunnel", s.tunnel, "error", err)
	}
}

// open returns a Conn, nil when the session was stopped. While there is none the detection time goes on.
func (s *session) open() Conn {
	for {
		s.mu.Lock()
		t, stopped := s.target, s.stopped
		s.mu.Unlock()
		if stopped {
			return nil
		}
		conn, err := s.d.listen(t)
		s.mu.Lock()
		if err == nil {
			s.conn = conn
			if s.stopped {
				conn.Interrupt()
			}
			s.mu.Unlock()
			return conn
		}
		expired := s.machine.expire(time.Now())
		s.mu.Unlock()
		if expired {
			s.changed()
		}
		s.d.log.Debug("no BFD socket", "tunnel", t.Tunnel, "error", err)
		retry := time.NewTimer(reopenAfter)
		select {
		case <-s.wake:
		case <-retry.C:
		}
		retry.Stop()
	}
}

// serve sends and receives until the session is stopped, which is no error, or the Conn is no good any more.
func (s *session) serve(conn Conn, buf []byte) error {
	for {
		s.mu.Lock()
		stopped, wake := s.stopped, s.machine.wake()
		s.mu.Unlock()
		if stopped {
			return nil
		}
		packet, err := conn.Receive(buf, wake)
		switch {
		case err == nil:
			err = s.receive(conn, packet)
		case errors.Is(err, os.ErrDeadlineExceeded):
			// Nothing has come in time, not even into the socket's queue.
			err = s.silence(conn)
		}
		if err != nil {
			return err
		}
	}
}

func (s *session) receive(conn Conn, packet []byte) error {
	c, err := parse(packet)
	if err != nil {
		s.d.log.Debug("BFD packet ignored", "tunnel", s.tunnel, "error", err)
		return nil
	}
	now := time.Now()
	s.mu.Lock()
	before, peer := s.machine.state, s.machine.remoteState
	reply, err := s.machine.receive(c, now)
	changed := before != s.machine.state || peer != s.machine.remoteState
	answer := s.machine.packet(false, true)
	s.mu.Unlock()
	if err != nil {
		s.d.log.Debug("BFD packet ignored", "tunnel", s.tunnel, "error", err)
		return nil
	}
	if changed {
		s.changed()
	}
	if reply {
		if err := s.send(conn, answer); err != nil {
			return err
		}
	}
	return s.sendDue(conn, now)
}

// silence is what the passage of time alone brings about.
func (s *session) silence(conn Conn) error {
	now := time.Now()
	s.mu.Lock()
	expired := s.machine.expire(now)
	s.mu.Unlock()
	if expired {
		s.changed()
	}
	return s.sendDue(conn, now)
}

func (s *session) sendDue(conn Conn, now time.Time) error {
	s.mu.Lock()
	c, due := s.machine.due(now)
	s.mu.Unlock()
	if !due {
		return nil
	}
	return s.send(conn, c)
}

// send returns only errors that ask for another Conn: a packet that is not sent is one that is lost.
func (s *session) send(conn Conn, c control) error {
	var b [controlLength]byte
	if err := conn.Send(c.append(b[:0])); errors.Is(err, ErrStale) {
		return err
	}
	return nil
}

func (s *session) farewell(conn Conn) {
	s.mu.Lock()
	c := s.machine.farewell()
	s.mu.Unlock()
	for range farewells {
		_ = s.send(conn, c) // nobody is left to send it again
	}
}

func (s *session) changed() {
	st := s.state()
	s.d.log.Info("BFD", "tunnel", s.tunnel, "state", st.State, "peer", st.Peer, "diagnostic", st.Diagnostic)
	s.d.publish(Event{Tunnel: s.tunnel, State: st})
}

func (s *session) state() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.machine
	st := State{
		State: m.state.String(), Peer: m.remoteState.String(), Since: m.since, Heard: m.heard, Armed: m.armed, Downs: m.downs,
		Detection: m.detection(), Interval: m.transmitInterval(),
	}
	if m.state != codeUp {
		st.Diagnostic = m.diag.String()
		if m.diag == diagNeighborDown && m.remoteDiag != diagNone {
			st.Diagnostic += ": " + m.remoteDiag.String()
		}
	}
	return st
}
