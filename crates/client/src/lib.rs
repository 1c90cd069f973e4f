//! What a caller does with ic-nn, generic over a transport.
