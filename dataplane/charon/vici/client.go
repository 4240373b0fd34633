// Package vici speaks strongSwan's VICI protocol over one connection.
//
// The protocol has no request numbers: charon answers the commands of a connection in order, and everything else that arrives is an
// event. One goroutine reads and tells them apart, so items of a listing and other events are seen in the order in which charon
// sent them, and no message is dropped here: what is done with an event is the caller's business.
package vici

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// writeTimeout bounds one write. charon reads in a thread of its own, so only a dead one lets the socket's buffer fill.
const writeTimeout = 10 * time.Second

var (
	// ErrClosed is wrapped by errors of calls on a connection that ended, with the cause.
	ErrClosed = errors.New("vici connection closed")
	// ErrUnknown is wrapped when charon does not know a command or an event.
	ErrUnknown = errors.New("unknown to this charon")
)

// CommandError is charon's refusal of a command (success=no).
type CommandError struct {
	Command string
	// Message is charon's errmsg.
	Message string
}

// Error implements error.
func (e *CommandError) Error() string {
	return fmt.Sprintf("charon refused %s: %s", e.Command, e.Message)
}

// Event is an event that charon sent.
type Event struct {
	Name    string
	Message *Message
}

// Client is one connection to charon. Its methods may be called at the same time; commands go out one by one.
type Client struct {
	conn    net.Conn
	onEvent func(Event)

	// slot is held from the moment a request is written until its answer was read, also when the caller gave up meanwhile.
	slot chan struct{}
	done chan struct{}

	mu      sync.Mutex
	current *request
	err     error
	// streams are the events registered for streamed commands.
	streams map[string]bool
}

// request is the one that charon is answering. answer has room for one, so the reader never waits for the caller.
type request struct {
	stream string
	item   func(*Message)
	answer chan Packet
}

// NewClient takes over conn. onEvent gets every event that is no item of a running listing, in order, on the reading goroutine:
// it must return at once and must not call the Client. Close ends the reading goroutine.
func NewClient(conn net.Conn, onEvent func(Event)) *Client {
	c := &Client{
		conn: conn, onEvent: onEvent,
		slot: make(chan struct{}, 1), done: make(chan struct{}), streams: make(map[string]bool),
	}
	go c.read()
	return c
}

// Done is closed after the connection ended for whatever reason and the last event was delivered. Err says why.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err returns why the connection ended, nil while it lives.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection and waits for the reading goroutine. Calls in progress return an error that wraps ErrClosed.
func (c *Client) Close() {
	c.fail(errors.New("closed here"))
	<-c.done
}

func (c *Client) fail(cause error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = fmt.Errorf("%w: %w", ErrClosed, cause)
	}
	c.mu.Unlock()
	c.conn.Close()
}

func (c *Client) read() {
	defer close(c.done)
	r := bufio.NewReaderSize(c.conn, 64*1024)
	for {
		p, err := ReadPacket(r)
		if err == nil {
			err = c.dispatch(p)
		}
		if err != nil {
			c.fail(err)
			return
		}
	}
}

func (c *Client) dispatch(p Packet) error {
	switch p.Type {
	case EventPacket:
		if !c.deliverItem(p) {
			c.onEvent(Event{Name: p.Name, Message: p.Message})
		}
		return nil
	case CmdResponse, CmdUnknown, EventConfirm, EventUnknown:
		c.mu.Lock()
		current := c.current
		c.current = nil
		c.mu.Unlock()
		if current == nil {
			return fmt.Errorf("%w: packet type %d answers nothing", ErrProtocol, p.Type)
		}
		current.answer <- p
		<-c.slot
		return nil
	default:
		return fmt.Errorf("%w: packet type %d from charon", ErrProtocol, p.Type)
	}
}

// deliverItem reports whether p was an item of a listing, also of one whose caller gave up. The lock is held while item runs: after
// abandon returned no item is delivered.
func (c *Client) deliverItem(p Packet) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil || c.current.stream != p.Name {
		return c.streams[p.Name]
	}
	if c.current.item != nil {
		c.current.item(p.Message)
	}
	return true
}

// Register asks for an event. An error wraps ErrUnknown when this charon does not have it.
func (c *Client) Register(ctx context.Context, event string) error {
	p, err := c.exchange(ctx, Packet{Type: EventRegister, Name: event}, &request{})
	if err != nil {
		return fmt.Errorf("register for %s: %w", event, err)
	}
	switch p.Type {
	case EventConfirm:
		return nil
	case EventUnknown:
		return fmt.Errorf("register for %s: %w", event, ErrUnknown)
	default:
		return c.unexpected(event, p.Type)
	}
}

// Call runs a command. When charon refuses (success=no) the error is a *CommandError, and the reply is returned with it. When ctx
// ends first the answer is discarded on arrival and the connection stays usable; the next command waits for that answer.
func (c *Client) Call(ctx context.Context, command string, in *Message) (*Message, error) {
	return c.call(ctx, command, in, &request{})
}

// Stream runs a command that answers with a number of events before its reply, such as list-sas with list-sa. item gets each of them on
// the reading goroutine, in order with other events: it must return at once and must not call the Client. It is never called after
// Stream returned.
func (c *Client) Stream(ctx context.Context, command, event string, in *Message, item func(*Message)) (*Message, error) {
	c.mu.Lock()
	registered := c.streams[event]
	c.mu.Unlock()
	if !registered {
		if err := c.Register(ctx, event); err != nil {
			return nil, err
		}
		c.mu.Lock()
		c.streams[event] = true
		c.mu.Unlock()
	}
	return c.call(ctx, command, in, &request{stream: event, item: item})
}

func (c *Client) call(ctx context.Context, command string, in *Message, r *request) (*Message, error) {
	p, err := c.exchange(ctx, Packet{Type: CmdRequest, Name: command, Message: in}, r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", command, err)
	}
	switch p.Type {
	case CmdResponse:
		if p.Message.Get("success") == "no" {
			return p.Message, &CommandError{Command: command, Message: p.Message.Get("errmsg")}
		}
		return p.Message, nil
	case CmdUnknown:
		return nil, fmt.Errorf("%s: %w", command, ErrUnknown)
	default:
		return nil, c.unexpected(command, p.Type)
	}
}

func (c *Client) unexpected(name string, t PacketType) error {
	err := fmt.Errorf("%w: packet type %d answers %s", ErrProtocol, t, name)
	c.fail(err)
	return err
}

// exchange writes one request and waits for its answer.
func (c *Client) exchange(ctx context.Context, p Packet, r *request) (Packet, error) {
	frame, err := Encode(p)
	if err != nil {
		return Packet{}, err
	}
	select {
	case c.slot <- struct{}{}:
	case <-ctx.Done():
		return Packet{}, ctx.Err()
	case <-c.done:
		return Packet{}, c.Err()
	}
	r.answer = make(chan Packet, 1)
	c.mu.Lock()
	c.current = r
	c.mu.Unlock()
	if err := c.write(frame); err != nil {
		// Part of the frame may be out: what follows would not be understood.
		c.fail(err)
		return Packet{}, c.Err()
	}
	select {
	case a := <-r.answer:
		return a, nil
	case <-ctx.Done():
		c.abandon(r)
		return Packet{}, ctx.Err()
	case <-c.done:
		// The answer may have been the last thing read.
		select {
		case a := <-r.answer:
			return a, nil
		default:
			return Packet{}, c.Err()
		}
	}
}

func (c *Client) write(frame []byte) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := c.conn.Write(frame)
	return err
}

// abandon leaves r in place to swallow its items and answer, but tells nobody any more.
func (c *Client) abandon(r *request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.item = nil
}
