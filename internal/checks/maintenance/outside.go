package maintenance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/secret"
)

const (
	// askTimeout bounds one request.
	askTimeout = 10 * time.Second
	// maxBody bounds what is read of an answer, in bytes.
	maxBody = 1 << 20
)

// outside is how the world sees whether maintenance is on.
type outside struct {
	URLs        []string      `param:"url,short" doc:"addresses to ask, from outside"`
	On          int           `param:"on_status" doc:"status while maintenance is on" default:"503"`
	RetryAfter  bool          `param:"retry_after" doc:"the answer must have a Retry-After while it is on" default:"true"`
	Off         int           `param:"off_status" doc:"status while it is off" default:"200"`
	Consecutive int           `param:"consecutive" doc:"how many times in a row" default:"3"`
	Every       time.Duration `param:"every" doc:"pause between two looks" default:"200ms"`
	Within      time.Duration `param:"within" doc:"time until it must be seen" default:"15s"`
	Bypass      bypass        `param:"bypass" doc:"what gets through while it is on" default:""`
}

// bypass is a request that maintenance lets through.
type bypass struct {
	URL    string     `param:"url" doc:"address; the first of verify's when left out" default:""`
	Header string     `param:"header" doc:"name of the header" default:"X-Maintenance-Bypass"`
	Token  secret.Ref `param:"token" doc:"the header's value"`
}

func (o outside) first() string {
	if len(o.URLs) == 0 {
		return ""
	}
	return o.URLs[0]
}

func (o outside) validate() error {
	if len(o.URLs) == 0 {
		return errors.New("verify needs an address: a switch that nobody sees proves nothing")
	}
	if o.Consecutive < 1 || o.Every <= 0 {
		return errors.New("verify: consecutive must be at least 1 and every more than 0")
	}
	if o.On == o.Off {
		return errors.New("verify: on_status and off_status are the same")
	}
	addresses := o.URLs
	if o.Bypass.URL != "" {
		addresses = append(append([]string{}, addresses...), o.Bypass.URL)
	}
	for _, address := range addresses {
		u, err := url.Parse(address)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return fmt.Errorf("verify: %.100q is no http or https address", address)
		}
	}
	return nil
}

// view is what was seen: what is missing from the view that is wanted (empty when
// nothing is), and what was there.
type view struct {
	miss, seen string
	facts      map[string]string
}

// settle looks until the wanted view was seen as often in a row as wanted, or
// the time is over.
func (o outside) settle(ctx context.Context, env *check.Env, on bool) (view, error) {
	end, row := env.Now().Add(o.Within), 0
	for {
		v, err := o.look(ctx, env, on)
		if ctx.Err() != nil {
			return v, context.Cause(ctx)
		}
		if row++; err != nil || v.miss != "" {
			row = 0
		}
		if row >= o.Consecutive {
			v.seen += fmt.Sprintf(", %d times in a row", row)
			return v, nil
		}
		if !env.Now().Before(end) {
			if err == nil && v.miss == "" {
				v.miss = fmt.Sprintf("it was seen only %d times in a row", row)
			}
			return v, err
		}
		if err := env.Sleep(ctx, o.Every); err != nil {
			return v, err
		}
	}
}

// look asks every address once. An address that gives no whole answer is an
// error: that somebody cannot get through does not mean that maintenance is on.
func (o outside) look(ctx context.Context, env *check.Env, on bool) (view, error) {
	v := view{facts: map[string]string{}}
	var misses []string
	for _, address := range o.URLs {
		status, retry, err := ask(ctx, env, address, "", "")
		if err != nil {
			return v, fmt.Errorf("look from outside: %w", err)
		}
		v.facts[address] = strconv.Itoa(status)
		if miss := o.differs(on, status, retry); miss != "" {
			misses = append(misses, address+" "+miss)
		}
	}
	v.seen = fmt.Sprintf("%s answers %s", o.first(), v.facts[o.first()])
	if on && !o.Bypass.Token.IsZero() && len(misses) == 0 {
		miss, err := o.bypassed(ctx, env, v.facts)
		if err != nil {
			return v, err
		}
		if v.seen += ", the bypass gets through"; miss != "" {
			misses = append(misses, miss)
		}
	}
	v.miss = strings.Join(misses, "; ")
	return v, nil
}

func (o outside) differs(on bool, status int, retry string) string {
	switch {
	case !on && status != o.Off:
		return fmt.Sprintf("answers %d, want %d", status, o.Off)
	case on && status != o.On:
		return fmt.Sprintf("answers %d, want %d", status, o.On)
	case on && o.RetryAfter && !validRetry(retry):
		return fmt.Sprintf("answers %d without a valid Retry-After", status)
	}
	return ""
}

// validRetry reads Retry-After as RFC 9110, 10.2.3 has it: seconds or a date.
func validRetry(text string) bool {
	if n, err := strconv.Atoi(text); err == nil {
		return n >= 0
	}
	_, err := http.ParseTime(text)
	return err == nil
}

func (o outside) bypassed(ctx context.Context, env *check.Env, facts map[string]string) (string, error) {
	token, err := env.Secret(ctx, o.Bypass.Token)
	if err != nil {
		return "", err
	}
	address := o.Bypass.URL
	if address == "" {
		address = o.first()
	}
	status, _, err := ask(ctx, env, address, o.Bypass.Header, token.Reveal())
	if err != nil {
		return "", fmt.Errorf("look with the bypass: %w", err)
	}
	facts["bypass "+address] = strconv.Itoa(status)
	if status != o.Off {
		return fmt.Sprintf("the bypass does not get through: %s answers %d", address, status), nil
	}
	return "", nil
}

// ask sends one request and reads the whole answer. It does not use the Env's
// HTTP, which adds the bypass by itself while maintenance is on.
func ask(ctx context.Context, env *check.Env, address, header, value string) (status int, retry string, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Cache-Control", "no-cache")
	if header != "" {
		req.Header.Set(header, value)
	}
	transport := &http.Transport{DialContext: env.Dial, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return 0, "", fmt.Errorf("read the answer of %s: %w", address, err)
	}
	if n > maxBody {
		return 0, "", fmt.Errorf("%s answers more than %d bytes", address, maxBody)
	}
	return resp.StatusCode, resp.Header.Get("Retry-After"), nil
}
