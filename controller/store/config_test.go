package store_test

import (
	"testing"

	"go.etcd.io/etcd/server/v3/embed"
)

// The configuration of a cluster's member that is shipped is one that etcd takes, with room for large transactions.
func TestShippedMemberConfiguration(t *testing.T) {
	c, err := embed.ConfigFromFile("../../configs/etcd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if c.MaxTxnOps != 4096 || c.MaxRequestBytes != 8<<20 || c.QuotaBackendBytes != 4<<30 || c.AutoCompactionRetention != "1h" {
		t.Errorf("%d operations, %d bytes a request, %d bytes of data, history of %s", c.MaxTxnOps, c.MaxRequestBytes, c.QuotaBackendBytes, c.AutoCompactionRetention)
	}
	if !c.ClientTLSInfo.ClientCertAuth || !c.PeerTLSInfo.ClientCertAuth {
		t.Error("somebody without a certificate could read everything")
	}
}
