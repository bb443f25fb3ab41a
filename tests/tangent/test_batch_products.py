"""Products beside a training loop leave the settings of the process alone, also when two loops run at once."""

from threading import Event, Thread

import torch
from torch import nn
from torch.nn.functional import mse_loss

from separatrix.tangent.batch_products import BatchLoss


def test_two_threads_leave_attention_as_it_was():
    inside, both, gone = Event(), Event(), Event()
    before = torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.mem_efficient_sdp_enabled()
    seen = []

    def first(output, target):
        inside.set()
        assert both.wait(30)
        return mse_loss(output, target)

    def second(output, target):
        both.set()
        assert gone.wait(30)
        seen.append(torch.backends.cuda.flash_sdp_enabled())
        return mse_loss(output, target)

    def work(loss, begin, end):
        assert begin.wait(30)
        net = nn.Linear(2, 1)
        BatchLoss(net, loss).products([(torch.ones(3, 2), torch.ones(3, 1))], [torch.ones(1, 1, 2), torch.ones(1, 1)])
        end.set()

    now, done = Event(), Event()
    now.set()
    threads = [Thread(target=work, args=(first, now, gone)), Thread(target=work, args=(second, inside, done))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert done.is_set()
    # the first one's going must not bring fused kernels back while the second one needs them off
    assert seen == [False]
    assert (torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.mem_efficient_sdp_enabled()) == before
    assert before[0]
