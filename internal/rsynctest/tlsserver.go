package rsynctest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/syncd/syncd/internal/need"
)

// TLSServer is what stands in front of a server in tests: programs that speak TLS.
type TLSServer struct {
	Cert, Key string // files
	ClientCA  string // file with the authority that clients must have a certificate of; "" = none is asked for
}

// Stunnel starts a real stunnel in front of addr, ended with the test, and returns its address.
func (s TLSServer) Stunnel(t testing.TB, addr string) string {
	t.Helper()
	return s.run(t, need.Program(t, "stunnel4"), nil, func(port string, pem string) string {
		conf := "foreground = yes\npid =\nsyslog = no\n[rsyncs]\naccept = 127.0.0.1:" + port + "\nconnect = " + addr +
			"\ncert = " + pem + "\n"
		if s.ClientCA != "" {
			conf += "verifyChain = yes\nCAfile = " + s.ClientCA + "\n"
		}
		return conf
	})
}

// HAProxy does the same with haproxy.
func (s TLSServer) HAProxy(t testing.TB, addr string) string {
	t.Helper()
	return s.run(t, need.Program(t, "haproxy"), []string{"-db", "-f"}, func(port string, pem string) string {
		ask := ""
		if s.ClientCA != "" {
			ask = " verify required ca-file " + s.ClientCA
		}
		return fmt.Sprintf(`defaults
  mode tcp
  timeout connect 10s
  timeout client 10m
  timeout server 10m
listen rsyncs
  bind 127.0.0.1:%s ssl crt %s%s
  server rsync %s
`, port, pem, ask, addr)
	})
}

// Nginx does the same with nginx, as it is without proxy_half_close: it ends a connection as soon as one side does.
func (s TLSServer) Nginx(t testing.TB, addr string) string {
	t.Helper()
	return s.run(t, need.Program(t, "nginx"), []string{"-e", "stderr", "-c"}, func(port string, pem string) string {
		load, ask := "", ""
		const module = "/usr/lib/nginx/modules/ngx_stream_module.so" // where Debian has it; elsewhere it is built in
		if _, err := os.Stat(module); err == nil {
			load = "load_module " + module + ";\n"
		}
		if s.ClientCA != "" {
			ask = "ssl_verify_client on; ssl_client_certificate " + s.ClientCA + ";"
		}
		return load + fmt.Sprintf(`daemon off;
pid %s.pid;
error_log stderr;
events {}
stream {
  server {
    listen 127.0.0.1:%s ssl;
    ssl_certificate %s; ssl_certificate_key %s; %s
    proxy_pass %s;
  }
}
`, pem, port, pem, pem, ask, addr)
	})
}

// run starts a program with a configuration file as its last argument.
func (s TLSServer) run(t testing.TB, program string, args []string, conf func(port, pem string) string) string {
	t.Helper()
	dir := t.TempDir()
	var both []byte
	for _, name := range []string{s.Cert, s.Key} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, text...)
	}
	pem, file := filepath.Join(dir, "server.pem"), filepath.Join(dir, "conf")
	write(t, pem, string(both))
	port, err := reservePort()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { port.close() })
	write(t, file, conf(strconv.Itoa(port.number), pem))
	p, err := start(program, append(args, file)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.stop(false); err != nil {
			t.Errorf("stop %s: %v", filepath.Base(program), err)
		}
		if t.Failed() {
			t.Logf("log of %s:\n%s", filepath.Base(program), p.output.String())
		}
	})
	if err := p.waitReady(func() bool { return listens(port.number) }); err != nil {
		t.Fatalf("start %s: %v", filepath.Base(program), err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port.number))
}
