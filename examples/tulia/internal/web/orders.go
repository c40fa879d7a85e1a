package web

import (
	"errors"
	"net/http"
	"strconv"

	"allclear.dev/allclear/examples/tulia/internal/store"
)

// Bounds of one order.
const (
	maxItems     = 100
	maxQuantity  = 10_000
	maxUnitCents = 100_000_000
	maxPage      = 100
)

// count returns the number of the query parameter name, from 1 to most, or fallback.
func count(r *http.Request, name string, fallback, most int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, invalid(name + " must be a number from 1 to " + strconv.Itoa(most))
	}
	return n, nil
}

func (s *Server) customers(w http.ResponseWriter, r *http.Request, who actor) error {
	list, err := s.Store.Customers(r.Context(), who.Tenant, maxPage)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, map[string]any{"customers": list})
}

func (s *Server) orders(w http.ResponseWriter, r *http.Request, who actor) error {
	limit, err := count(r, "limit", 20, maxPage)
	if err != nil {
		return err
	}
	list, err := s.Store.Orders(r.Context(), who.Tenant, limit)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, map[string]any{"orders": list})
}

func (s *Server) order(w http.ResponseWriter, r *http.Request, who actor) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	o, err := s.Store.Order(r.Context(), who.Tenant, id)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, o)
}

func (s *Server) placeOrder(w http.ResponseWriter, r *http.Request, who actor) error {
	var in store.NewOrder
	if err := decode(w, r, &in); err != nil {
		return err
	}
	if err := checkOrder(in); err != nil {
		return err
	}
	o, err := s.Store.PlaceOrder(r.Context(), who.Tenant, who.ID, in)
	if errors.Is(err, store.ErrForeign) {
		return invalid("customer_id is not one of your customers")
	}
	if err != nil {
		return err
	}
	return reply(w, http.StatusCreated, o)
}

func checkOrder(in store.NewOrder) error {
	if err := isID("customer_id", in.CustomerID); err != nil {
		return err
	}
	switch in.Channel {
	case "", "api", "whatsapp", "web":
	default:
		return invalid("channel must be api, whatsapp or web")
	}
	if len(in.Items) == 0 || len(in.Items) > maxItems {
		return invalid("items must hold from 1 to " + strconv.Itoa(maxItems) + " lines")
	}
	for _, item := range in.Items {
		if item.Name == "" || item.Quantity < 1 || item.Quantity > maxQuantity || item.UnitCents < 0 || item.UnitCents > maxUnitCents {
			return invalid("an item needs a name, a quantity and a price within bounds")
		}
	}
	return nil
}

func (s *Server) cancelOrder(w http.ResponseWriter, r *http.Request, who actor) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	o, err := s.Store.CancelOrder(r.Context(), who.Tenant, id)
	if errors.Is(err, store.ErrConflict) {
		return conflict("NOT_CANCELLABLE", "the order is "+o.Status)
	}
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, o)
}
