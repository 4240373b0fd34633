package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/strongswan/govici/vici"
)

// IKESA is one IKE SA as charon lists it.
type IKESA struct {
	Name, UniqueID, Version, State                  string
	LocalHost, LocalID, RemoteHost, RemoteID        string
	InitiatorSPI, ResponderSPI                      string
	Initiator                                       bool
	EncrAlg, EncrKeySize, IntegAlg, PRFAlg, DHGroup string
	Established                                     int // seconds ago
	Children                                        []ChildSA
}

// ChildSA is one CHILD SA as charon lists it.
type ChildSA struct {
	Name, UniqueID, ReqID, State             string
	IfIDIn, IfIDOut                          string // eight hexadecimal digits
	SPIIn, SPIOut                            string
	EncrAlg, EncrKeySize, IntegAlg, DHGroup  string
	LocalTS, RemoteTS                        []string
	BytesIn, BytesOut, PacketsIn, PacketsOut uint64
}

// SAs lists the SAs, in the order in which their IKE SAs were created. The session is made for this one command, and
// its event queue is longer than any list: govici drops what does not fit, without an error.
func (c *Charon) SAs() ([]IKESA, error) {
	ctx, cancel := context.WithTimeout(c.host.lab.t.Context(), viciTimeout)
	defer cancel()
	s, err := vici.NewSession(vici.WithSocketPath(c.Socket()))
	if err != nil {
		return nil, fmt.Errorf("%s: VICI: %w", c.host.name, err)
	}
	defer func() { _ = s.Close() }()
	events := make(chan vici.Event, 1<<16)
	s.NotifyEvents(events)
	if err := s.Subscribe("list-sa"); err != nil {
		return nil, err
	}
	if _, err := s.Call(ctx, "list-sas", nil); err != nil {
		return nil, err
	}
	var sas []IKESA
	for len(events) > 0 {
		event, ok := <-events
		if !ok {
			return nil, errors.New("charon closed the VICI session")
		}
		parsed, err := parseSA(event.Message)
		if err != nil {
			return nil, err
		}
		sas = append(sas, parsed...)
	}
	slices.SortFunc(sas, func(a, b IKESA) int { return compareNumbers(a.UniqueID, b.UniqueID) })
	return sas, nil
}

// Children returns all CHILD SAs in the given state ("INSTALLED"), or in every state for "".
func (c *Charon) Children(state string) ([]ChildSA, error) {
	sas, err := c.SAs()
	var children []ChildSA
	for _, sa := range sas {
		for _, child := range sa.Children {
			if state == "" || child.State == state {
				children = append(children, child)
			}
		}
	}
	return children, err
}

// SPIs returns the inbound and outbound SPIs of all installed CHILD SAs, sorted, to compare before and after.
func (c *Charon) SPIs() ([]string, error) {
	children, err := c.Children("INSTALLED")
	var spis []string
	for _, child := range children {
		spis = append(spis, "in:"+child.SPIIn, "out:"+child.SPIOut)
	}
	slices.Sort(spis)
	return spis, err
}

// Installed returns nil when the tunnel has at least one installed CHILD SA.
func (c *Charon) Installed(tunnel string) error {
	sas, err := c.SAs()
	if err != nil {
		return err
	}
	var seen []string
	for _, sa := range sas {
		for _, child := range sa.Children {
			if child.Name == tunnel && child.State == "INSTALLED" {
				return nil
			}
			seen = append(seen, child.Name+" "+child.State)
		}
		seen = append(seen, sa.Name+" "+sa.State)
	}
	return fmt.Errorf("%s: no CHILD SA %s is installed; there are %q", c.host.name, tunnel, seen)
}

// Terminate closes the IKE SA of a connection, telling the peer.
func (c *Charon) Terminate(tunnel string) error {
	_, err := c.Swanctl("--terminate", "--ike", tunnel)
	return err
}

// Initiate negotiates a child and waits for the outcome.
func (c *Charon) Initiate(tunnel string) error {
	_, err := c.Swanctl("--initiate", "--child", tunnel, "--timeout", "20")
	return err
}

// parseSA reads a list-sa event: connection names, each with the fields of an IKE SA and a section of its children.
func parseSA(m *vici.Message) ([]IKESA, error) {
	var sas []IKESA
	for _, name := range m.Keys() {
		section, ok := m.Get(name).(*vici.Message)
		if !ok {
			return nil, fmt.Errorf("list-sa: %q is no section", name)
		}
		get := func(key string) string { return text(section, key) }
		established, _ := strconv.Atoi(get("established")) // absent while connecting
		sa := IKESA{
			Name: name, UniqueID: get("uniqueid"), Version: get("version"), State: get("state"),
			LocalHost: get("local-host"), LocalID: get("local-id"), RemoteHost: get("remote-host"), RemoteID: get("remote-id"),
			InitiatorSPI: get("initiator-spi"), ResponderSPI: get("responder-spi"), Initiator: get("initiator") == "yes",
			EncrAlg: get("encr-alg"), EncrKeySize: get("encr-keysize"), IntegAlg: get("integ-alg"), PRFAlg: get("prf-alg"),
			DHGroup: get("dh-group"), Established: established,
		}
		if children, ok := section.Get("child-sas").(*vici.Message); ok {
			for _, key := range children.Keys() {
				child, ok := children.Get(key).(*vici.Message)
				if !ok {
					return nil, fmt.Errorf("list-sa: child %q is no section", key)
				}
				parsed, err := parseChild(child)
				if err != nil {
					return nil, fmt.Errorf("list-sa: child %q: %w", key, err)
				}
				sa.Children = append(sa.Children, parsed)
			}
		}
		slices.SortFunc(sa.Children, func(a, b ChildSA) int { return compareNumbers(a.UniqueID, b.UniqueID) })
		sas = append(sas, sa)
	}
	return sas, nil
}

func parseChild(m *vici.Message) (ChildSA, error) {
	get := func(key string) string { return text(m, key) }
	c := ChildSA{
		Name: get("name"), UniqueID: get("uniqueid"), ReqID: get("reqid"), State: get("state"),
		IfIDIn: get("if-id-in"), IfIDOut: get("if-id-out"), SPIIn: get("spi-in"), SPIOut: get("spi-out"),
		EncrAlg: get("encr-alg"), EncrKeySize: get("encr-keysize"), IntegAlg: get("integ-alg"), DHGroup: get("dh-group"),
	}
	c.LocalTS, _ = m.Get("local-ts").([]string)
	c.RemoteTS, _ = m.Get("remote-ts").([]string)
	for key, to := range map[string]*uint64{
		"bytes-in": &c.BytesIn, "bytes-out": &c.BytesOut, "packets-in": &c.PacketsIn, "packets-out": &c.PacketsOut,
	} {
		value := get(key)
		if value == "" {
			continue // counted in some states only
		}
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return c, fmt.Errorf("%s: %w", key, err)
		}
		*to = n
	}
	return c, nil
}

func text(m *vici.Message, key string) string {
	s, _ := m.Get(key).(string)
	return s
}

// compareNumbers compares decimal numbers without a sign.
func compareNumbers(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}
