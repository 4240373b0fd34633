package api

import (
	"context"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// CreateBorderGateway implements the ResourceService.
func (h *Resources) CreateBorderGateway(ctx context.Context, req *apiv1.CreateBorderGatewayRequest) (*apiv1.CreateBorderGatewayResponse, error) {
	o, warnings, err := create(ctx, h, req.GetBorderGateway(), "borderGateway", req.GetDryRun())
	if err != nil {
		return nil, err
	}
	return &apiv1.CreateBorderGatewayResponse{BorderGateway: o, Warnings: warnings}, nil
}

// GetBorderGateway implements the ResourceService.
func (h *Resources) GetBorderGateway(ctx context.Context, req *apiv1.GetBorderGatewayRequest) (*apiv1.GetBorderGatewayResponse, error) {
	o, err := get[*apiv1.BorderGateway](ctx, h, req.GetName())
	if err != nil {
		return nil, err
	}
	return &apiv1.GetBorderGatewayResponse{BorderGateway: o}, nil
}

// ListBorderGateways implements the ResourceService.
func (h *Resources) ListBorderGateways(ctx context.Context, req *apiv1.ListBorderGatewaysRequest) (*apiv1.ListBorderGatewaysResponse, error) {
	items, next, version, err := list[*apiv1.BorderGateway](ctx, h, req)
	if err != nil {
		return nil, err
	}
	return &apiv1.ListBorderGatewaysResponse{Items: items, NextPageToken: next, ResourceVersion: version}, nil
}

// UpdateBorderGateway implements the ResourceService.
func (h *Resources) UpdateBorderGateway(ctx context.Context, req *apiv1.UpdateBorderGatewayRequest) (*apiv1.UpdateBorderGatewayResponse, error) {
	o, warnings, err := update(ctx, h, req.GetBorderGateway(), "borderGateway", req.GetDryRun())
	if err != nil {
		return nil, err
	}
	return &apiv1.UpdateBorderGatewayResponse{BorderGateway: o, Warnings: warnings}, nil
}

// DeleteBorderGateway implements the ResourceService.
func (h *Resources) DeleteBorderGateway(ctx context.Context, req *apiv1.DeleteBorderGatewayRequest) (*apiv1.DeleteBorderGatewayResponse, error) {
	return &apiv1.DeleteBorderGatewayResponse{}, h.delete(ctx, apiv1.KindBorderGateway, req)
}

// CreateCustomerGateway implements the ResourceService.
func (h *Resources) CreateCustomerGateway(ctx context.Context, req *apiv1.CreateCustomerGatewayRequest) (*apiv1.CreateCustomerGatewayResponse, error) {
	o, warnings, err := create(ctx, h, req.GetCustomerGateway(), "customerGateway", req.GetDryRun())
	if err != nil {
		return nil, err
	}
	return &apiv1.CreateCustomerGatewayResponse{CustomerGateway: o, Warnings: warnings}, nil
}

// GetCustomerGateway implements the ResourceService.
func (h *Resources) GetCustomerGateway(ctx context.Context, req *apiv1.GetCustomerGatewayRequest) (*apiv1.GetCustomerGatewayResponse, error) {
	o, err := get[*apiv1.CustomerGateway](ctx, h, req.GetName())
	if err != nil {
		return nil, err
	}
	return &apiv1.GetCustomerGatewayResponse{CustomerGateway: o}, nil
}

// ListCustomerGateways implements the ResourceService.
func (h *Resources) ListCustomerGateways(ctx context.Context, req *apiv1.ListCustomerGatewaysRequest) (*apiv1.ListCustomerGatewaysResponse, error) {
	items, next, version, err := list[*apiv1.CustomerGateway](ctx, h, req)
	if err != nil {
		return nil, err
	}
	return &apiv1.ListCustomerGatewaysResponse{Items: items, NextPageToken: next, ResourceVersion: version}, nil
}

// UpdateCustomerGateway implements the ResourceService.
func (h *Resources) UpdateCustomerGateway(ctx context.Context, req *apiv1.UpdateCustomerGatewayRequest) (*apiv1.UpdateCustomerGatewayResponse, error) {
	o, warnings, err := update(ctx, h, req.GetCustomerGateway(), "customerGateway", req.GetDryRun())
	if err != nil {
		return nil, err
	}
	return &apiv1.UpdateCustomerGatewayResponse{CustomerGateway: o, Warnings: warnings}, nil
}

// DeleteCustomerGateway implements the ResourceService.
func (h *Resources) DeleteCustomerGateway(ctx context.Context, req *apiv1.DeleteCustomerGatewayRequest) (*apiv1.DeleteCustomerGatewayResponse, error) {
	return &apiv1.DeleteCustomerGatewayResponse{}, h.delete(ctx, apiv1.KindCustomerGateway, req)
}

// CreateVPNConnection implements the ResourceService.
func (h *Resources) CreateVPNConnection(ctx context.Context, req *apiv1.CreateVPNConnectionRequest) (*apiv1.CreateVPNConnectionResponse, error) {
	if err := given(req.GetVpnConnection(), "vpnConnection"); err != nil {
		return nil, err
	}
	w := h.asked(ctx, req.GetDryRun())
	w.DefaultTunnels = req.GetDefaultTunnels()
	results, warnings, err := h.Service.Create(ctx, w, req.GetVpnConnection())
	if err != nil {
		return nil, h.problem(err)
	}
	resp := &apiv1.CreateVPNConnectionResponse{Warnings: warnings}
	for _, r := range results {
		switch o := r.After.(type) {
		case *apiv1.VPNConnection:
			resp.VpnConnection = o
		case *apiv1.VPNTunnel:
			resp.VpnTunnels = append(resp.VpnTunnels, o)
		}
	}
	return resp, nil
}

// GetVPNConnection implements the ResourceService.
func (h *Resources) GetVPNConnection(ctx context.Context, req *apiv1.GetVPNConnectionRequest) (*apiv1.GetVPNConnectionResponse, error) {
	o, err := get[*apiv1.VPNConnection](ctx, h, req.GetName())
	if err != nil {
		return nil, err
	}
	return &apiv1.GetVPNConnectionResponse{VpnConnection: o}, nil
}

// ListVPNConnections implements the ResourceService.
func (h *Resources) ListVPNConnections(ctx context.Context, req *apiv1.ListVPNConnectionsRequest) (*apiv1.ListVPNConnectionsResponse, error) {
	items, next, version, err := list[*apiv1.VPNConnection](ctx, h, req)
	if err != nil {
		return nil, err
	}
	return &apiv1.ListVPNConnectionsResponse{Items: items, NextPageToken: next, ResourceVersion: version}, nil
}

// UpdateVPNConnection implements the ResourceService.
func (h *Resources) UpdateVPNConnection(ctx context.Context, req *apiv1.UpdateVPNConnectionRequest) (*apiv1.UpdateVPNConnectionResponse, error) {
	o, warnings, err := update(ctx, h, req.GetVpnConnection(), "vpnConnection", req.GetDryRun())
	if err != nil {
		return nil, err
	}
	return &apiv1.UpdateVPNConnectionResponse{VpnConnection: o, Warnings: warnings}, nil
}

// DeleteVPNConnection implements the ResourceService.
func (h *Resources) DeleteVPNConnection(ctx context.Context, req *apiv1.DeleteVPNConnectionRequest) (*apiv1.DeleteVPNConnectionResponse, error) {
	return &apiv1.DeleteVPNConnectionResponse{}, h.delete(ctx, apiv1.KindVPNConnection, req)
}

// CreateVPNTunnel implements the ResourceService.
func (h *Resources) CreateVPNTunnel(ctx context.Context, req *apiv1.CreateVPNTunnelRequest) (*apiv1.CreateVPNTunnelResponse, error) {
	o, warnings, err := create(ctx, h, req.GetVpnTunnel(), "vpnTunnel", req.GetDryRun())
	if err != nil {
		return nil, err
	}
	return &apiv1.CreateVPNTunnelResponse{VpnTunnel: o, Warnings: warnings}, nil
}

// GetVPNTunnel implements the ResourceService.
func (h *Resources) GetVPNTunnel(ctx context.Context, req *apiv1.GetVPNTunnelRequest) (*apiv1.GetVPNTunnelResponse, error) {
	o, err := get[*apiv1.VPNTunnel](ctx, h, req.GetName())
	if err != nil {
		return nil, err
	}
	return &apiv1.GetVPNTunnelResponse{VpnTunnel: o}, nil
}

// ListVPNTunnels implements the ResourceService.
func (h *Resources) ListVPNTunnels(ctx context.Context, req *apiv1.ListVPNTunnelsRequest) (*apiv1.ListVPNTunnelsResponse, error) {
	items, next, version, err := list[*apiv1.VPNTunnel](ctx, h, req)
	if err != nil {
		return nil, err
	}
	return &apiv1.ListVPNTunnelsResponse{Items: items, NextPageToken: next, ResourceVersion: version}, nil
}

// UpdateVPNTunnel implements the ResourceService.
func (h *Resources) UpdateVPNTunnel(ctx context.Context, req *apiv1.UpdateVPNTunnelRequest) (*apiv1.UpdateVPNTunnelResponse, error) {
	o, warnings, err := update(ctx, h, req.GetVpnTunnel(), "vpnTunnel", req.GetDryRun())
	if err != nil {
		return nil, err
	}
	return &apiv1.UpdateVPNTunnelResponse{VpnTunnel: o, Warnings: warnings}, nil
}

// DeleteVPNTunnel implements the ResourceService.
func (h *Resources) DeleteVPNTunnel(ctx context.Context, req *apiv1.DeleteVPNTunnelRequest) (*apiv1.DeleteVPNTunnelResponse, error) {
	return &apiv1.DeleteVPNTunnelResponse{}, h.delete(ctx, apiv1.KindVPNTunnel, req)
}

// CreateGatewayHost implements the ResourceService.
func (h *Resources) CreateGatewayHost(ctx context.Context, req *apiv1.CreateGatewayHostRequest) (*apiv1.CreateGatewayHostResponse, error) {
	o, warnings, err := create(ctx, h, req.GetGatewayHost(), "gatewayHost", req.GetDryRun())
	if err != nil {
		return nil, err
	}
	return &apiv1.CreateGatewayHostResponse{GatewayHost: o, Warnings: warnings}, nil
}

// GetGatewayHost implements the ResourceService.
func (h *Resources) GetGatewayHost(ctx context.Context, req *apiv1.GetGatewayHostRequest) (*apiv1.GetGatewayHostResponse, error) {
	o, err := get[*apiv1.GatewayHost](ctx, h, req.GetName())
	if err != nil {
		return nil, err
	}
	return &apiv1.GetGatewayHostResponse{GatewayHost: o}, nil
}

// ListGatewayHosts implements the ResourceService.
func (h *Resources) ListGatewayHosts(ctx context.Context, req *apiv1.ListGatewayHostsRequest) (*apiv1.ListGatewayHostsResponse, error) {
	items, next, version, err := list[*apiv1.GatewayHost](ctx, h, req)
	if err != nil {
		return nil, err
	}
	return &apiv1.ListGatewayHostsResponse{Items: items, NextPageToken: next, ResourceVersion: version}, nil
}

// UpdateGatewayHost implements the ResourceService.
func (h *Resources) UpdateGatewayHost(ctx context.Context, req *apiv1.UpdateGatewayHostRequest) (*apiv1.UpdateGatewayHostResponse, error) {
	o, warnings, err := update(ctx, h, req.GetGatewayHost(), "gatewayHost", req.GetDryRun())
	if err != nil {
		return nil, err
	}
	return &apiv1.UpdateGatewayHostResponse{GatewayHost: o, Warnings: warnings}, nil
}

// DeleteGatewayHost implements the ResourceService.
func (h *Resources) DeleteGatewayHost(ctx context.Context, req *apiv1.DeleteGatewayHostRequest) (*apiv1.DeleteGatewayHostResponse, error) {
	return &apiv1.DeleteGatewayHostResponse{}, h.delete(ctx, apiv1.KindGatewayHost, req)
}
