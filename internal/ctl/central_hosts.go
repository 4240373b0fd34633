package ctl

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// changeAt has a controller ask the agent of a target.
func (s *session) changeAt(ctx context.Context, c *central, t target, action string, force bool) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if err := s.nameHost(ctx, c, &t); err != nil {
		return err
	}
	resp, err := c.hosts.Change(ctx, &apiv1.HostChangeRequest{Tunnel: t.tunnel, Host: t.host, Action: action, Force: force})
	if err != nil {
		return toldByHost(err)
	}
	return s.showChange(resp)
}

// drainAt is drain through a controller.
func (s *session) drainAt(ctx context.Context, c *central, t target, timeout *durationpb.Duration, force bool) error {
	if err := s.nameHost(ctx, c, &t); err != nil {
		return err
	}
	stream, err := c.hosts.Drain(ctx, &apiv1.HostDrainRequest{Tunnel: t.tunnel, Host: t.host, Timeout: timeout, Force: force})
	if err != nil {
		return toldByHost(err)
	}
	return s.showDrain(stream, toldByHost)
}

// nameHost fills in the name of the only host there is where a host is meant and none was named.
func (s *session) nameHost(ctx context.Context, c *central, t *target) error {
	if t.tunnel != "" || t.host != "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	hosts, err := c.listAll(ctx, apiv1.KindGatewayHost)
	if err != nil {
		return told(err)
	}
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = h.GetName()
	}
	switch len(names) {
	case 0:
		return failure{errors.New("there is no host")}
	case 1:
		t.host = names[0]
		return nil
	}
	return failure{fmt.Errorf("name the host: %s", strings.Join(names, " or "))}
}

// toldByHost is told, with what can be done about a refusal.
func toldByHost(err error) error {
	var e *connect.Error
	if errors.As(err, &e) && e.Code() == connect.CodeFailedPrecondition {
		if short, ok := strings.CutSuffix(e.Message(), "force is needed"); ok {
			return failure{errors.New(short + "--force does it all the same")}
		}
	}
	return told(err)
}
