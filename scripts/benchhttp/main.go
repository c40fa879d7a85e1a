// Command benchhttp serves 200 addresses for the benchmark, or asks them all the
// way a program written for just that would: `benchhttp serve FILE` writes its
// address to FILE, `benchhttp ask URL` asks.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
)

// addresses is how many checks the benchmark has; at is how many are asked at once.
const addresses, atOnce = 200, 200

func main() {
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "serve":
		err = serve(os.Args[2])
	case len(os.Args) == 3 && os.Args[1] == "ask":
		err = ask(os.Args[2])
	default:
		err = fmt.Errorf("usage: benchhttp serve FILE | benchhttp ask URL")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(file string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", []byte("http://"+listener.Addr().String()), 0o600); err != nil {
		return err
	}
	if err := os.Rename(file+".new", file); err != nil {
		return err
	}
	return http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"status":"healthy"}`)
	}))
}

func ask(url string) error {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: atOnce}}
	slots, errs := make(chan struct{}, atOnce), make(chan error, addresses)
	var all sync.WaitGroup
	for n := range addresses {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			resp, err := client.Get(fmt.Sprintf("%s/%d", url, n))
			if err != nil {
				errs <- err
				return
			}
			defer resp.Body.Close()
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
				errs <- fmt.Errorf("%s: %v", resp.Status, err)
			}
		})
	}
	all.Wait()
	close(errs)
	return <-errs
}
