// Command member is one etcd of a cluster, for tests that kill some of them: it serves until it is killed.
//
//	member NAME DIR CLIENT-URL NAME=PEER-URL,NAME=PEER-URL,... PKI
//
// PKI is a folder of bordergw-controller init-pki: clients need a certificate.
package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
)

func main() {
	if len(os.Args) != 6 {
		fmt.Fprintln(os.Stderr, "usage: member NAME DIR CLIENT-URL INITIAL-CLUSTER PKI")
		os.Exit(2)
	}
	if err := serve(os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]); err != nil {
		fmt.Fprintln(os.Stderr, "member:", err)
		os.Exit(1)
	}
}

func serve(name, dir, client, cluster, pki string) error {
	c := embed.NewConfig()
	c.Name, c.Dir, c.InitialCluster, c.LogLevel = name, dir, cluster, "warn"
	own := ""
	for member := range strings.SplitSeq(cluster, ",") {
		if who, where, _ := strings.Cut(member, "="); who == name {
			own = where
		}
	}
	for _, to := range []struct {
		text              string
		listen, advertise *[]url.URL
	}{{client, &c.ListenClientUrls, &c.AdvertiseClientUrls}, {own, &c.ListenPeerUrls, &c.AdvertisePeerUrls}} {
		u, err := url.Parse(to.text)
		if err != nil {
			return err
		}
		*to.listen, *to.advertise = []url.URL{*u}, []url.URL{*u}
	}
	c.ClientTLSInfo = transport.TLSInfo{
		CertFile: filepath.Join(pki, "controller.crt"), KeyFile: filepath.Join(pki, "controller.key"),
		TrustedCAFile: filepath.Join(pki, "ca.crt"), ClientCertAuth: true,
	}
	server, err := embed.StartEtcd(c)
	if err != nil {
		return err
	}
	defer server.Close()
	return <-server.Err()
}
